# SPDX-License-Identifier: Apache-2.0
add_executable(evil_volume_tables ${CMAKE_CURRENT_LIST_DIR}/tables.c)
target_link_libraries(evil_volume_tables PRIVATE volume_tables)
add_test(NAME evil/volume/tables COMMAND evil_volume_tables)
set_tests_properties(evil/volume/tables PROPERTIES TIMEOUT 120)
