# SPDX-License-Identifier: Apache-2.0
vd_unit_test(audit/record LIBRARIES vd_audit)
vd_unit_test(audit/session LIBRARIES vd_audit)
vd_unit_test(audit/merge LIBRARIES vd_audit)
vd_unit_test(audit/merkle LIBRARIES vd_audit)
vd_unit_test(audit/note LIBRARIES vd_audit)
vd_unit_test(audit/anchor LIBRARIES vd_audit)
vd_unit_test(audit/ring LIBRARIES vd_audit)
vd_unit_test(audit/failure LIBRARIES vd_audit)
vd_unit_test(audit/bounds LIBRARIES vd_audit)
vd_unit_test(audit/show LIBRARIES vd_cli)
vd_unit_test(audit/follow LIBRARIES vd_audit)
vd_unit_test(audit/show_filter LIBRARIES vd_audit)
vd_unit_test(audit/export LIBRARIES vd_cli)

# Run by hand: records per second.
add_executable(bench_audit_ring ${CMAKE_CURRENT_LIST_DIR}/bench_ring.c)
target_link_libraries(bench_audit_ring PRIVATE vd_audit)

# Calls that write the log fail one after the other; the linker catches them.
vd_unit_test(audit/faults LIBRARIES vd_audit)
foreach(call write fallocate64 posix_fallocate64 openat64 mkdirat fdatasync)
  target_link_options(test_audit_faults PRIVATE -Wl,--wrap=${call})
endforeach()
target_compile_definitions(test_audit_faults
                           PRIVATE VERIFY_AUDIT_LOG="${CMAKE_SOURCE_DIR}/scripts/verify-audit-log")
