# What every MLIR-using folder needs: MLIR 22, and one wrapper for libraries.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/lib)
set(MLIR_BINARY_DIR ${CMAKE_BINARY_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include(HandleLLVMOptions)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
separate_arguments(llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${llvm_definitions})

# The headers of MLIR, compiled once. Who uses them has to link it: what is in
# line there is compiled along.
add_library(FathomMLIRHeaders OBJECT ${CMAKE_CURRENT_LIST_DIR}/MLIRHeaders.cpp)
llvm_update_compile_flags(FathomMLIRHeaders)
fathom_precompile(FathomMLIRHeaders ${CMAKE_CURRENT_LIST_DIR}/MLIRHeaders.h)
function(fathom_use_mlir_headers name)
  llvm_update_compile_flags(${name})
  if(FATHOM_PCH)
    target_precompile_headers(${name} REUSE_FROM FathomMLIRHeaders)
  endif()
endfunction()

# fathom_add_library(NAME SRCS ... [DEPENDS ...] [PROJECT_LIBS ...] [MLIR_LIBS ...])
#
# A static library of ours. All MLIR libraries go through here, as static
# archives over the shared libLLVM, so that no option or type is linked twice.
function(fathom_add_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPENDS;PROJECT_LIBS;MLIR_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_PROJECT_LIBS} ${ARG_MLIR_LIBS})
  if("${ARG_MLIR_LIBS}" MATCHES MLIR)
    fathom_use_mlir_headers(${name})
  else()
    llvm_update_compile_flags(${name})
  endif()
endfunction()

# fathom_tablegen_dialect(FILE.td NAME): ops, types, attributes, enums and the
# dialect of one .td, generated at the same path under the build folder.
macro(fathom_tablegen_dialect base dialect)
  set(LLVM_TARGET_DEFINITIONS ${base}Ops.td)
  mlir_tablegen(${base}Ops.h.inc -gen-op-decls)
  mlir_tablegen(${base}Ops.cpp.inc -gen-op-defs)
  mlir_tablegen(${base}Types.h.inc -gen-typedef-decls -typedefs-dialect=${dialect})
  mlir_tablegen(${base}Types.cpp.inc -gen-typedef-defs -typedefs-dialect=${dialect})
  mlir_tablegen(${base}Attrs.h.inc -gen-attrdef-decls -attrdefs-dialect=${dialect})
  mlir_tablegen(${base}Attrs.cpp.inc -gen-attrdef-defs -attrdefs-dialect=${dialect})
  mlir_tablegen(${base}Enums.h.inc -gen-enum-decls)
  mlir_tablegen(${base}Enums.cpp.inc -gen-enum-defs)
  mlir_tablegen(${base}Dialect.h.inc -gen-dialect-decls -dialect=${dialect})
  mlir_tablegen(${base}Dialect.cpp.inc -gen-dialect-defs -dialect=${dialect})
  add_public_tablegen_target(Fathom${base}IncGen)
endmacro()

# fathom_add_tool(NAME SRCS ... [PROJECT_LIBS ...] [MLIR_LIBS ...])
#
# An executable in bin/. Names under OPTIONAL_LIBS are linked when they exist
# and announce themselves to the source as FATHOM_HAVE_<NAME>.
function(fathom_add_tool name)
  cmake_parse_arguments(ARG "" "" "SRCS;PROJECT_LIBS;OPTIONAL_LIBS;MLIR_LIBS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  foreach(library ${ARG_OPTIONAL_LIBS})
    if(TARGET ${library})
      target_link_libraries(${name} PRIVATE ${library})
      target_compile_definitions(${name} PRIVATE FATHOM_HAVE_${library})
    endif()
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_PROJECT_LIBS} ${ARG_MLIR_LIBS})
  fathom_use_mlir_headers(${name})
endfunction()

# The upstream dialects that our IR uses, or is lowered to: what
# tools/fathom-opt/Dialects.h registers.
set(FATHOM_UPSTREAM_DIALECTS
  MLIRAffineDialect MLIRArithDialect MLIRBufferizationDialect MLIRControlFlowDialect
  MLIRFuncDialect MLIRLinalgDialect MLIRLLVMDialect MLIRMathDialect MLIRMemRefDialect
  MLIRSCFDialect MLIRTensorDialect MLIRVectorDialect)
