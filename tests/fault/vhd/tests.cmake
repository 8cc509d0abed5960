# SPDX-License-Identifier: Apache-2.0
add_executable(test_fault_vhd ${CMAKE_CURRENT_LIST_DIR}/fault_vhd.c)
target_link_libraries(test_fault_vhd PRIVATE vd_vhdbuild)
add_test(NAME fault/vhd COMMAND test_fault_vhd)
set_tests_properties(fault/vhd PROPERTIES TIMEOUT 600)
