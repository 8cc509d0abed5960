# SPDX-License-Identifier: Apache-2.0
add_executable(fault_volume_scan ${CMAKE_CURRENT_LIST_DIR}/scan.c)
target_link_libraries(fault_volume_scan PRIVATE volume_tables)
add_test(NAME fault/volume/scan COMMAND fault_volume_scan)
set_tests_properties(fault/volume/scan PROPERTIES TIMEOUT 120)
