# SPDX-License-Identifier: Apache-2.0
foreach(name vhd_parent vhd_check)
  vd_unit_test(image/${name} LIBRARIES vd_vhdbuild)
endforeach()
