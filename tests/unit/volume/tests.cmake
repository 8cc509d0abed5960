# SPDX-License-Identifier: Apache-2.0
# Builders and invariants that the unit, evil and fault tests of volume/ share.
add_library(volume_tables STATIC ${CMAKE_CURRENT_LIST_DIR}/tables.c)
target_include_directories(volume_tables PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(volume_tables PUBLIC vd_testlib vd_volume PkgConfig::CMOCKA)

vd_unit_test(volume/mbr LIBRARIES volume_tables)
vd_unit_test(volume/gpt LIBRARIES volume_tables)
vd_unit_test(volume/bootsec LIBRARIES volume_tables)
vd_unit_test(volume/recognise LIBRARIES volume_tables)
vd_unit_test(volume/tools LIBRARIES volume_tables)
set_tests_properties(unit/volume/tools PROPERTIES SKIP_RETURN_CODE 77)
