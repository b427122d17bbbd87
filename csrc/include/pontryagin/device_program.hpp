// A recorded program as a GPU reads it: plain data, the same for every problem of a batch.
//
// An instruction is four words of 32 bits: where the result goes, and three operands. A place is a slot of a bank, in the
// lower two bits of the word; the accumulator is a bank of its own, which also stands for what is not there. The first
// word has the operation in its lowest eight bits. Sines are written to `to`, and their cosines to `c`.
#pragma once

#include "opcode.hpp"

namespace pontryagin {

enum class DeviceBank : unsigned { fixed = 0, record = 1, next = 2, accumulator = 3 };

struct alignas(16) DeviceInstruction {
  unsigned to, a, b, c;
};

namespace device_place {
constexpr int bank_bits = 2, op_bits = 8;
constexpr unsigned slots = 1u << (32 - bank_bits - op_bits);  // that a bank may have
constexpr unsigned accumulator = static_cast<unsigned>(DeviceBank::accumulator);
constexpr unsigned place(DeviceBank bank, unsigned slot) { return slot << bank_bits | static_cast<unsigned>(bank); }
constexpr unsigned first_word(Op op, unsigned to) { return to << op_bits | static_cast<unsigned>(op); }
}  // namespace device_place

// The programs of a sweep (recorder/sweep_programs.hpp) and the slots that its driver fills or reads. Every field has 8
// bytes, so that other languages can write it down (Program in pontryagin/backend/cuda_launch.py).
template <class T>
struct DeviceProgram {
  const DeviceInstruction* prologue = nullptr;
  const DeviceInstruction* forward = nullptr;
  const DeviceInstruction* terminal = nullptr;
  const DeviceInstruction* backward = nullptr;
  const T* constants = nullptr;
  long long constant_count = 0;
  long long with_backward = 0;
  long long extended = 0;
  long long uniform = 0;
  long long linear_control = 0;
  long long linear_data = 0;
  // components of the state, the control, the parameters and the data, and conditions at the end
  long long n = 0;
  long long m = 0;
  long long q = 0;
  long long nd = 0;
  long long r = 0;
  // slots of the fixed bank
  long long span = 0;
  long long h = 0;
  long long t = 0;
  long long omega_0 = 0;
  long long cost = 0;
  long long objective = 0;
  long long lagrangian = 0;
  long long span_adjoint = 0;
  long long theta = 0;
  long long theta_adjoint = 0;
  long long nu = 0;
  long long rho = 0;
  long long e = 0;
  long long first_constant = 0;
  long long fixed_count = 0;
  // slots of a record
  long long x = 0;
  long long u = 0;
  long long d = 0;
  long long p = 0;
  long long u_adjoint = 0;
  long long x_cotangent = 0;
  long long record_count = 0;
};

// The same for H = L + p.f and its derivatives at points.
template <class T>
struct DevicePointProgram {
  const DeviceInstruction* code = nullptr;
  const T* constants = nullptr;
  long long constant_count = 0;
  long long n = 0;
  long long m = 0;
  long long q = 0;
  long long nd = 0;
  // slots of the fixed bank
  long long theta = 0;
  long long first_constant = 0;
  long long fixed_count = 0;
  // slots of the record
  long long t = 0;
  long long x = 0;
  long long p = 0;
  long long u = 0;
  long long d = 0;
  long long h = 0;
  long long h_x = 0;
  long long h_u = 0;
  long long record_count = 0;
};

}  // namespace pontryagin
