# SPDX-License-Identifier: Apache-2.0
# The write prober: not a test by itself, t_writes.py runs it on a mount.
add_executable(prober ${CMAKE_CURRENT_LIST_DIR}/prober.c ${CMAKE_CURRENT_LIST_DIR}/prober_calls.c
               ${CMAKE_CURRENT_LIST_DIR}/prober_ioctl.c)
target_link_libraries(prober PRIVATE vd_flags)
target_compile_definitions(prober PRIVATE PROBER_TABLE="${CMAKE_CURRENT_LIST_DIR}/write-calls.tsv")
