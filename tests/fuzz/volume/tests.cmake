# SPDX-License-Identifier: Apache-2.0
vd_fuzz_target(fuzz_volume_scan ${CMAKE_CURRENT_LIST_DIR}/fuzz_scan.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus LIBRARIES vd_volume)
