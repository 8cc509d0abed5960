# SPDX-License-Identifier: Apache-2.0
vd_unit_test(proc/message LIBRARIES vd_proc)
vd_unit_test(proc/identity LIBRARIES vd_proc)
vd_unit_test(proc/opened LIBRARIES vd_proc)
foreach(test run stop sandbox)
  vd_unit_test(proc/${test} LIBRARIES vd_proc SOURCES ${CMAKE_CURRENT_LIST_DIR}/pair.c)
endforeach()
