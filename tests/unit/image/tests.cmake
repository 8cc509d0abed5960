# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/vhd.cmake OPTIONAL)
include(${CMAKE_CURRENT_LIST_DIR}/vhd_parts.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/vmdk.cmake OPTIONAL)
foreach(name space contribution raw_split)
  vd_unit_test(image/${name} LIBRARIES vd_image)
endforeach()
include(${CMAKE_CURRENT_LIST_DIR}/chain.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/vmdk_esx.cmake)
