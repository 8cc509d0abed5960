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
# What a crash of qemu leaves behind.  The preloaded library goes without sanitizers: qemu has none.
add_library(stop_writes MODULE ${CMAKE_CURRENT_LIST_DIR}/stop_writes.c)
target_link_libraries(stop_writes PRIVATE ${CMAKE_DL_LIBS})
vd_unit_test(image/vhdx_crash LIBRARIES vd_vhdbuild)
add_dependencies(test_image_vhdx_crash stop_writes)
target_compile_definitions(test_image_vhdx_crash PRIVATE STOP_WRITES="$<TARGET_FILE:stop_writes>")
set_tests_properties(unit/image/vhdx_crash PROPERTIES SKIP_RETURN_CODE 77)
vd_unit_test(image/vhdx_readers LIBRARIES vd_vhdbuild vd_writers)
vd_unit_test(image/vhdx_share LIBRARIES vd_image vd_writers)
