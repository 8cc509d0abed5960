# SPDX-License-Identifier: Apache-2.0
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(name sweep threads mutate)
  add_executable(fs_${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(fs_${name} PRIVATE vd_fs_walk)
  add_test(NAME fault/fs/${name}
           COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/images.py
                   $<TARGET_FILE:fs_${name}> ${name} ${CMAKE_SOURCE_DIR}/../shared/corpus)
  set_tests_properties(fault/fs/${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
