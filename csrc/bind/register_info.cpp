// What the core can do: its operations, the instruction set in use.
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "bind/register.hpp"
#include "cpu/kernels.hpp"
#include "pontryagin/opcode.hpp"

namespace pontryagin {

void register_info(pybind11::module_& module) {
  std::map<std::string, int> operations;
#define X(name, arity) operations[#name] = static_cast<int>(Op::name);
  PMP_GRAPH_OPERATIONS(X)
#undef X
  operations["constant"] = static_cast<int>(Op::constant);
  operations["input"] = static_cast<int>(Op::input);
  module.attr("operations") = operations;
  module.def("instruction_set", [] { return std::string(kernel_set().name); }, "Name of the instruction set in use.");
  module.def("lanes", [] { return kernel_set().f64[lane_choices - 1].lanes; }, "Problems in one block, in float64.");
}

}  // namespace pontryagin
