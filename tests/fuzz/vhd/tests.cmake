# SPDX-License-Identifier: Apache-2.0
vd_fuzz_target(fuzz_vhd_open ${CMAKE_CURRENT_LIST_DIR}/fuzz_vhd_open.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_vhd LIBRARIES vd_vhdbuild)
vd_fuzz_target(fuzz_vhdx_open ${CMAKE_CURRENT_LIST_DIR}/fuzz_vhdx_open.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_vhdx LIBRARIES vd_vhdbuild)
