# SPDX-License-Identifier: Apache-2.0
# Flags that every target gets, and the helper that declares one library per folder of src/.
add_custom_target(vd_version BYPRODUCTS ${CMAKE_BINARY_DIR}/gen/base/version.h
  COMMAND ${CMAKE_COMMAND} -D SOURCE=${CMAKE_SOURCE_DIR} -D OUTPUT=${CMAKE_BINARY_DIR}/gen/base/version.h
          -D PROJECT_VERSION=${PROJECT_VERSION} -P ${CMAKE_SOURCE_DIR}/scripts/cmake/Version.cmake
  COMMENT "Build id" VERBATIM)

add_library(vd_flags INTERFACE)
target_include_directories(vd_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include
                           ${CMAKE_BINARY_DIR}/gen)
target_compile_definitions(vd_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(vd_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla -Wformat=2 -Wundef
  -Wpointer-arith -Wcast-qual -Wswitch-enum -Wno-missing-field-initializers
  -fno-strict-aliasing -fno-common -fstack-protector-strong -fvisibility=hidden)
if(VD_WERROR)
  target_compile_options(vd_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE MATCHES "Release|RelWithDebInfo" AND NOT VD_SANITIZE)
  target_compile_definitions(vd_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_link_options(vd_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(VD_SANITIZE)
  target_compile_options(vd_flags INTERFACE -fsanitize=${VD_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(vd_flags INTERFACE -fsanitize=${VD_SANITIZE})
endif()
if(VD_FUZZ)
  target_compile_options(vd_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(VD_COVERAGE)
  target_compile_options(vd_flags INTERFACE --coverage)
  target_link_options(vd_flags INTERFACE --coverage)
endif()

# vd_library(NAME [LIBRARIES …]): static library vd_NAME of all .c files of the calling folder and
# its subfolders.  The dependency rule between them is checked by scripts/lint.
function(vd_library name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  if(NOT sources) # a folder whose first file is still to come
    file(WRITE ${CMAKE_BINARY_DIR}/gen/empty.c "typedef int vd_empty;\n")
    set(sources ${CMAKE_BINARY_DIR}/gen/empty.c)
  endif()
  add_library(vd_${name} STATIC ${sources})
  target_link_libraries(vd_${name} PUBLIC vd_flags ${ARG_LIBRARIES})
  add_dependencies(vd_${name} vd_version)
endfunction()
