# SPDX-License-Identifier: Apache-2.0
add_executable(test_fault_vmdk ${CMAKE_CURRENT_LIST_DIR}/fault_vmdk.c)
target_link_libraries(test_fault_vmdk PRIVATE vd_vmdkbuild)
add_test(NAME fault/vmdk COMMAND test_fault_vmdk)
set_tests_properties(fault/vmdk PROPERTIES TIMEOUT 120)

add_executable(test_fault_vmdk_esx ${CMAKE_CURRENT_LIST_DIR}/fault_esx.c)
target_link_libraries(test_fault_vmdk_esx PRIVATE vd_esxbuild)
add_test(NAME fault/vmdk-esx COMMAND test_fault_vmdk_esx)
set_tests_properties(fault/vmdk-esx PROPERTIES TIMEOUT 120)
