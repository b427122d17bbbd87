// The private extension `pontryagin._cuda`: machine code for GPUs, as bytes. What launches it is Python (pontryagin/backend).
#include <pybind11/pybind11.h>

#include <string>

namespace py = pybind11;

// The bytes of a file that nvcc made, put here by the assembler.
#define PMP_IMAGE(name)                                                                                             \
  extern "C" __attribute__((visibility("hidden"))) const char pontryagin_##name[], pontryagin_##name##_end[];       \
  __asm__(".section .rodata\n.balign 16\n.globl pontryagin_" #name "\npontryagin_" #name ":\n.incbin \"" PMP_IMAGES \
          "/" #name ".fatbin\"\n.globl pontryagin_" #name "_end\npontryagin_" #name "_end:\n.byte 0\n.previous\n");
PMP_IMAGE(interpreter)
PMP_IMAGE(mlp)
#undef PMP_IMAGE

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "Kernels of pontryagin that nvcc compiled for GPUs, as bytes. Private.";
  module.attr("toolkit") = py::make_tuple(PMP_TOOLKIT);
  module.attr("architectures") = py::make_tuple(PMP_ARCHITECTURES);
  module.def(
      "image",
      [](const std::string& name) {
        if (name == "interpreter")
          return py::bytes(pontryagin_interpreter, pontryagin_interpreter_end - pontryagin_interpreter);
        if (name == "mlp") return py::bytes(pontryagin_mlp, pontryagin_mlp_end - pontryagin_mlp);
        throw py::value_error("expected one of interpreter, mlp");
      },
      py::arg("name"), "The kernels of csrc/cuda/NAME.cu for all architectures, as the driver loads them.");
}
