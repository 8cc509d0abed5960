# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/vhd.cmake OPTIONAL)
include(${CMAKE_CURRENT_LIST_DIR}/vmdk.cmake OPTIONAL)
vd_unit_test(image/space LIBRARIES vd_image)
include(${CMAKE_CURRENT_LIST_DIR}/chain.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/vmdk_esx.cmake)
