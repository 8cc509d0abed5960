# SPDX-License-Identifier: Apache-2.0
foreach(name evil_vhd evil_vhdx)
  add_executable(test_${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_link_libraries(test_${name} PRIVATE vd_vhdbuild)
  add_test(NAME evil/${name} COMMAND test_${name})
  set_tests_properties(evil/${name} PROPERTIES TIMEOUT 120)
endforeach()
