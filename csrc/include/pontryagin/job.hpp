// One sweep over a batch as plain data, in the caller's layout [problem][node][component]. A null pointer is "not given"
// for an input and "not wanted" for an output. A stride of 0 means that all problems share the array.
#pragma once

namespace pontryagin {

template <class T>
struct SweepJob {
  // the grid
  int steps = 0;
  const double* tau = nullptr;  // [N+1] scaled time
  double t0 = 0.0;
  // arguments
  const T* control = nullptr;  // [B][K][m]
  long control_stride = 0;
  const T* initial_state = nullptr;  // [B][n]
  const T* final_time = nullptr;     // [B]
  const T* parameters = nullptr;     // [B][q]
  const T* data = nullptr;           // [B][K_d][nd]
  long data_stride = 0;
  const T* multipliers = nullptr;          // [B][r]
  const T* penalties = nullptr;            // [B][r]
  const T* objective_cotangent = nullptr;  // [B]
  const T* state_cotangent = nullptr;      // [B][N+1][n]
  // results
  T* objective = nullptr;                 // [B]
  T* lagrangian = nullptr;                // [B]
  T* terminal = nullptr;                  // [B][r]
  T* state = nullptr;                     // [B][N+1][n]
  T* costate = nullptr;                   // [B][N+1][n]
  T* control_derivative = nullptr;        // [B][K][m], or [K][m] where the control is shared: then added to
  T* initial_state_derivative = nullptr;  // [B][n]
  T* parameter_derivative = nullptr;      // [B][q]
  T* final_time_derivative = nullptr;     // [B]
};

}  // namespace pontryagin
