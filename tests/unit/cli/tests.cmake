# SPDX-License-Identifier: Apache-2.0
foreach(name copy digest)
  vd_unit_test(cli/${name} LIBRARIES vd_cli)
endforeach()
