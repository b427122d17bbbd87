#include <cstdlib>
#include <cstring>

#include "cpu/kernels.hpp"

namespace pontryagin {

#define PMP_DECLARE(isa) KernelSet kernel_set_##isa();
#ifdef PMP_HAVE_V4
PMP_DECLARE(v4)
#endif
#ifdef PMP_HAVE_V3
PMP_DECLARE(v3)
#endif
#ifdef PMP_HAVE_V2
PMP_DECLARE(v2)
#endif
#ifdef PMP_HAVE_GENERIC
PMP_DECLARE(generic)
#endif
#undef PMP_DECLARE

namespace {

KernelSet choose() {
  const char* wanted = std::getenv("PONTRYAGIN_ISA");
  const auto allowed = [wanted](const char* name) {
    return wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, name) == 0;
  };
  (void)allowed;
#if defined(PMP_HAVE_V4)
  if (allowed("x86-64-v4") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"))
    return kernel_set_v4();
#endif
#if defined(PMP_HAVE_V3)
  if ((allowed("x86-64-v3") || allowed("x86-64-v4")) && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return kernel_set_v3();
#endif
#if defined(PMP_HAVE_V2)
  return kernel_set_v2();
#else
  return kernel_set_generic();
#endif
}

}  // namespace

const KernelSet& kernel_set() {
  static const KernelSet set = choose();
  return set;
}

}  // namespace pontryagin
