// Passes that have looked and found nothing say so; others say nothing.
// RUN: fathom-opt %s -fathom-fuse-head -fathom-fuse-experts -fathom-merge-launches -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s
// CHECK: {{^}}fathom-fuse-experts: groups 0, left 0, operations 0{{$}}
// CHECK-NEXT: {{^}}fathom-fuse-head: groups 0, left 0, operations 0{{$}}
// CHECK-NEXT: {{^}}fathom-merge-launches: merged 0, saved 0{{$}}
// CHECK-NOT: fathom-
module {
  func.func private @elsewhere(tensor<?xi32>)
}
