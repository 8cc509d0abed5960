# SPDX-License-Identifier: Apache-2.0
vd_fuzz_target(fuzz_audit_log ${CMAKE_CURRENT_LIST_DIR}/fuzz_log.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_log LIBRARIES vd_audit)
vd_fuzz_target(fuzz_audit_ring ${CMAKE_CURRENT_LIST_DIR}/fuzz_ring.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_ring LIBRARIES vd_audit)
vd_fuzz_target(fuzz_audit_note ${CMAKE_CURRENT_LIST_DIR}/fuzz_note.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_note LIBRARIES vd_audit)
