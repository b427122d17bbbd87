#pragma once

#include <pybind11/pybind11.h>

namespace pontryagin {

void register_info(pybind11::module_& module);
void register_model(pybind11::module_& module);
void register_sweeper(pybind11::module_& module);
void register_device(pybind11::module_& module);
void register_native(pybind11::module_& module);
void register_mlp(pybind11::module_& module);
void register_newton(pybind11::module_& module);

}  // namespace pontryagin
