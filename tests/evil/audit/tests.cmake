# SPDX-License-Identifier: Apache-2.0
# Logs that somebody changed.
add_executable(evil_audit_tamper ${CMAKE_CURRENT_LIST_DIR}/tamper.c)
target_link_libraries(evil_audit_tamper PRIVATE vd_testlib vd_audit PkgConfig::CMOCKA)
add_test(NAME evil/audit/tamper COMMAND evil_audit_tamper)
set_tests_properties(evil/audit/tamper PROPERTIES TIMEOUT 120)

