# SPDX-License-Identifier: Apache-2.0
vd_fuzz_target(fuzz_proc_request ${CMAKE_CURRENT_LIST_DIR}/fuzz_request.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_request LIBRARIES vd_proc)
vd_fuzz_target(fuzz_proc_procfs ${CMAKE_CURRENT_LIST_DIR}/fuzz_procfs.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_procfs LIBRARIES vd_proc)
vd_fuzz_target(fuzz_proc_mountinfo ${CMAKE_CURRENT_LIST_DIR}/fuzz_mountinfo.c
               ${CMAKE_CURRENT_LIST_DIR}/corpus_mountinfo LIBRARIES vd_fuse)
