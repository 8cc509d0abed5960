# SPDX-License-Identifier: Apache-2.0
# VHD and VHDX.  tests/evil/vhd/build.c makes the files that these tests open.
add_library(vd_vhdbuild STATIC ${CMAKE_SOURCE_DIR}/tests/evil/vhd/build.c)
target_link_libraries(vd_vhdbuild PUBLIC vd_testlib vd_image PkgConfig::CMOCKA)
# Compared with the tools that make such files; skipped, with a word, where a tool is missing.
foreach(name vhd_qemu)
  vd_unit_test(image/${name} LIBRARIES vd_vhdbuild)
  set_tests_properties(unit/image/${name} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()
foreach(name overlap vhd_footer vhd_disk vhdx_header vhdx_metadata vhdx_locator vhdx_log vhdx_disk
             vhdx_diff vhdx_check)
  vd_unit_test(image/${name} LIBRARIES vd_vhdbuild)
endforeach()
