# SPDX-License-Identifier: Apache-2.0
add_executable(test_evil_tree_link_farm ${CMAKE_CURRENT_LIST_DIR}/link_farm.c)
target_link_libraries(test_evil_tree_link_farm PRIVATE vd_testlib vd_tree PkgConfig::CMOCKA)
add_test(NAME evil/tree/link_farm COMMAND test_evil_tree_link_farm)
set_tests_properties(evil/tree/link_farm PROPERTIES TIMEOUT 120)
