# SPDX-License-Identifier: Apache-2.0
add_executable(test_evil_vmdk ${CMAKE_CURRENT_LIST_DIR}/evil_vmdk.c)
target_link_libraries(test_evil_vmdk PRIVATE vd_vmdkbuild)
add_test(NAME evil/vmdk COMMAND test_evil_vmdk)
set_tests_properties(evil/vmdk PROPERTIES TIMEOUT 120)
