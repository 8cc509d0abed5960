# SPDX-License-Identifier: Apache-2.0
foreach(name check_report copy custody digest export options)
  vd_unit_test(cli/${name} LIBRARIES vd_cli)
endforeach()
