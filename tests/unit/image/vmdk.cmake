# SPDX-License-Identifier: Apache-2.0
# VMDK, raw and chains.  vmdk_build.c makes the files that these tests open.
add_library(vd_vmdkbuild STATIC ${CMAKE_CURRENT_LIST_DIR}/vmdk_build.c)
target_include_directories(vd_vmdkbuild PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(vd_vmdkbuild PUBLIC vd_testlib vd_image PkgConfig::CMOCKA PkgConfig::ZLIB)
foreach(name vmdk_descriptor vmdk_header vmdk_place vmdk_claims vmdk_sparse vmdk_stream vmdk_check vmdk_extents image chain)
  vd_unit_test(image/${name} LIBRARIES vd_vmdkbuild)
endforeach()
