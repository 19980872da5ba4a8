// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the driver for Ascend processors would launch of a package, for an
// end-to-end check: a line of JSON for each kernel of a processor, with its
// arguments packed from the package's own records. Addresses stand for what
// they are: 0x10000 * (number of the argument + 1), the first buffer of a table
// one more; 0xf1a6 are the flags, 0x3039 the workspace, the grid is 3 x 5 x 7.
//   ascend-arguments PACKAGE 910b
#include "runtime/drivers/ascend/Arguments.h"
#include "runtime/format/ManifestJson.h"
#include "runtime/src/Files.h"
#include "runtime/src/Plan.h"

#include <cstdio>
#include <set>

using namespace fathom;

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  const std::string package = argv[1], level = argv[2];
  std::string text;
  format::Manifest manifest;
  if (rt::readFile(package + "/manifest.json", format::detail::kMaxText, text)
          .failed() ||
      !format::parseManifest(text, manifest).empty())
    return 5;
  std::map<std::string, const format::Library *> libraries;
  for (const format::Library &library : manifest.libraries)
    if (library.target == "ascend" && library.isa == level &&
        (library.form.empty() || library.form == "adapter"))
      libraries[library.kernel] = &library;
  std::set<std::string> done;
  for (const format::Entry &entry : manifest.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches) {
        auto found = libraries.find(launch.kernel);
        if (found == libraries.end() || !done.insert(launch.kernel).second)
          continue;
        std::vector<uint64_t> args, firsts;
        std::vector<rt::ArgKind> kinds;
        for (const format::Arg &arg : launch.args) {
          args.push_back(0x10000 * (args.size() + 1));
          firsts.push_back(args.back() + 1);
          kinds.push_back(rt::kindOf(arg));
        }
        rt::AscendKernelFacts facts;
        if (rt::Status status =
                facts.read({launch.kernel.c_str(), found->second->configuration,
                            /*mostPrograms=*/105});
            status.failed()) {
          std::fprintf(stderr, "%s\n", status.message().c_str());
          return 1;
        }
        const rt::LaunchRecord record = {
            nullptr,       launch.kernel.c_str(), args.data(), kinds.data(),
            firsts.data(), uint32_t(args.size()), {3, 5, 7}};
        uint64_t words[rt::kMostAscendWords];
        const size_t count =
            rt::packArguments(facts, record, {0xf1a6, 0x3039}, words);
        nlohmann::json out;
        out["kernel"] = launch.kernel;
        out["mix"] = facts.mix;
        out["blocks"] = facts.blocksFor(105);
        out["loop"] = facts.blocks;
        out["workspace_bytes"] = facts.workspaceBytes;
        out["words"] = std::vector<uint64_t>(words, words + count);
        out["kinds"] = nlohmann::json::array();
        for (rt::ArgKind kind : kinds)
          out["kinds"].push_back(kind == rt::ArgKind::Table   ? "table"
                                 : kind == rt::ArgKind::Count ? "count"
                                                              : "buffer");
        std::printf("%s\n", out.dump().c_str());
      }
  return 0;
}
