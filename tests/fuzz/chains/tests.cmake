# SPDX-License-Identifier: Apache-2.0
# Whole chains against a plain model: scripts/fuzz-long runs it for real.
vd_fuzz_target(fuzz_chains ${CMAKE_CURRENT_LIST_DIR}/fuzz_chains.c ${CMAKE_CURRENT_LIST_DIR}/corpus
               SOURCES ${CMAKE_CURRENT_LIST_DIR}/plan.c LIBRARIES vd_image vd_writers)
