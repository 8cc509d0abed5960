# SPDX-License-Identifier: Apache-2.0
vd_fuzz_target(fuzz_vmdk_descriptor ${CMAKE_CURRENT_LIST_DIR}/fuzz_vmdk_descriptor.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus/descriptor LIBRARIES vd_image)
vd_fuzz_target(fuzz_vmdk_open ${CMAKE_CURRENT_LIST_DIR}/fuzz_vmdk_open.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus/open LIBRARIES vd_image)
