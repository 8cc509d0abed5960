# SPDX-License-Identifier: Apache-2.0
# Logs that somebody changed.
add_executable(evil_audit_tamper ${CMAKE_CURRENT_LIST_DIR}/tamper.c)
target_link_libraries(evil_audit_tamper PRIVATE vd_testlib vd_audit PkgConfig::CMOCKA)
add_test(NAME evil/audit/tamper COMMAND evil_audit_tamper)
set_tests_properties(evil/audit/tamper PROPERTIES TIMEOUT 120)

add_executable(evil_audit_signatures ${CMAKE_CURRENT_LIST_DIR}/signatures.c)
target_link_libraries(evil_audit_signatures PRIVATE vd_testlib vd_audit PkgConfig::CRYPTO PkgConfig::CMOCKA)
add_test(NAME evil/audit/signatures COMMAND evil_audit_signatures)
set_tests_properties(evil/audit/signatures PROPERTIES TIMEOUT 600)

add_executable(evil_audit_recovery ${CMAKE_CURRENT_LIST_DIR}/recovery.c
               ${CMAKE_CURRENT_LIST_DIR}/recovery_kit.c ${CMAKE_CURRENT_LIST_DIR}/recovery_rings.c)
target_link_libraries(evil_audit_recovery PRIVATE vd_testlib vd_audit PkgConfig::CMOCKA)
foreach(call write fsync fdatasync fchmod fchown unlinkat renameat2) # each may fail, or be the last
  target_link_options(evil_audit_recovery PRIVATE -Wl,--wrap=${call})
endforeach()
add_test(NAME evil/audit/recovery
         COMMAND evil_audit_recovery ${CMAKE_SOURCE_DIR}/scripts/verify-audit-log)
set_tests_properties(evil/audit/recovery PROPERTIES TIMEOUT 120)

add_executable(evil_audit_proofs ${CMAKE_CURRENT_LIST_DIR}/proofs.c)
target_link_libraries(evil_audit_proofs PRIVATE vd_testlib vd_audit PkgConfig::CMOCKA)
add_test(NAME evil/audit/proofs COMMAND evil_audit_proofs)

# The independent verifier, written from the document, gives the same verdicts.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_executable(audit_verdict ${CMAKE_CURRENT_LIST_DIR}/verdict.c)
  target_link_libraries(audit_verdict PRIVATE vd_audit)
  add_test(NAME evil/audit/second_verifier
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/second_verifier.py
                   $<TARGET_FILE:audit_verdict> ${CMAKE_SOURCE_DIR}/scripts/verify-audit-log)
  set_tests_properties(evil/audit/second_verifier PROPERTIES TIMEOUT 400 SKIP_RETURN_CODE 77)

  # Signed notes, trees and proofs, by an implementation that is not ours.
  add_test(NAME evil/audit/foreign
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/foreign.py
                   $<TARGET_FILE:audit_verdict> $<TARGET_FILE:vdiskctl> ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(evil/audit/foreign PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77)
endif()
