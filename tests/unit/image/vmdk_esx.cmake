# SPDX-License-Identifier: Apache-2.0
# COWD and seSparse.  The writers make the files, esx_build.c opens and compares.
add_library(vd_esxbuild STATIC ${CMAKE_CURRENT_LIST_DIR}/esx_build.c)
target_include_directories(vd_esxbuild PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(vd_esxbuild PUBLIC vd_testlib vd_writers vd_image PkgConfig::CMOCKA)
foreach(name vmdk_cowd vmdk_sesparse vmdk_device)
  vd_unit_test(image/${name} LIBRARIES vd_esxbuild)
endforeach()
