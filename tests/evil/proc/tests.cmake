# SPDX-License-Identifier: Apache-2.0
# Workers that attack the supervisor.
set(pair ${CMAKE_CURRENT_LIST_DIR}/../../unit/proc)
add_executable(test_evil_proc_hostile ${CMAKE_CURRENT_LIST_DIR}/hostile.c ${pair}/pair.c)
target_include_directories(test_evil_proc_hostile PRIVATE ${pair})
target_link_libraries(test_evil_proc_hostile PRIVATE vd_testlib vd_proc PkgConfig::CMOCKA)
add_test(NAME evil/proc/hostile COMMAND test_evil_proc_hostile)
set_tests_properties(evil/proc/hostile PROPERTIES TIMEOUT 120)
