# SPDX-License-Identifier: Apache-2.0
vd_unit_test(proc/message LIBRARIES vd_proc)
vd_unit_test(proc/identity LIBRARIES vd_proc)
vd_unit_test(proc/opened LIBRARIES vd_proc)
foreach(test run stop sandbox logged)
  vd_unit_test(proc/${test} LIBRARIES vd_proc SOURCES ${CMAKE_CURRENT_LIST_DIR}/pair.c)
endforeach()

# src/fuse/mountinfo.c, and src/fuse/mountpoint.c with a trivial FUSE server as the worker.
vd_unit_test(proc/mountinfo LIBRARIES vd_fuse)
vd_unit_test(proc/mountpoint LIBRARIES vd_fuse SOURCES ${CMAKE_CURRENT_LIST_DIR}/pair.c)
set_tests_properties(unit/proc/mountpoint PROPERTIES SKIP_RETURN_CODE 77)
