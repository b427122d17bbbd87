// H = L + p.f and its derivatives at points, on a GPU: one point a thread, arrays [component][point].
#pragma once

#include "device_sweep.hpp"

namespace pontryagin {

// Plain data of 8 bytes a field (Points in pontryagin/backend/cuda_launch.py).
template <class T>
struct DevicePoints {
  long long count = 0;  // P
  // arguments
  const T* time = nullptr;        // [P]
  const T* state = nullptr;       // [n][P]
  const T* costate = nullptr;     // [n][P]
  const T* control = nullptr;     // [m][P]
  const T* parameters = nullptr;  // [q][P]
  const T* data = nullptr;        // [nd][P]
  // results
  T* hamiltonian = nullptr;         // [P]
  T* state_derivative = nullptr;    // [n][P] H_x
  T* control_derivative = nullptr;  // [m][P] H_u
};

inline namespace PMP_ISA {

template <template <class> class ModelOf, class T>
PMP_INLINE void hamiltonian_at(const DevicePoints<T>& job, long long point) {
  using Model = ThreadModel<ModelOf, T>;
  using Real = typename Model::Real;
  if (point >= job.count) return;  // the rest of the last block
  const Model model{};
  const auto read = [&](const T* from, auto count, auto& values) PMP_INLINE_LAMBDA {
    each(count, [&](auto i) PMP_INLINE_LAMBDA { values[i] = Real(from[i * job.count + point]); });
  };
  typename Model::State x, p, f;
  typename Model::Control u;
  typename Model::Parameters theta;
  typename Model::Data d;
  typename Model::Cut cut;
  Gradient<Model> g;
  Real H;
  read(job.state, model.n(), x);
  read(job.costate, model.n(), p);
  read(job.control, model.m(), u);
  read(job.parameters, model.q(), theta);
  read(job.data, model.nd(), d);
  const Real t(job.time[point]);
  model.dynamics(t, x, u, theta, d, f, H, cut);
  model.pullback(cut, t, u, theta, d, Real(1), p, g);
  each(model.n(), [&](auto i) PMP_INLINE_LAMBDA {
    H = fma(p[i], f[i], H);
    job.state_derivative[i * job.count + point] = model.enters(i) ? g.x[i].v[0] : T(0);
  });
  each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { job.control_derivative[j * job.count + point] = g.u[j].v[0]; });
  job.hamiltonian[point] = H.v[0];
}

}  // namespace PMP_ISA
}  // namespace pontryagin
