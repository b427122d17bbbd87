// One sweep over a batch on a GPU as plain data, in the layout [node][component][problem]: neighbouring threads, which
// are neighbouring problems, read and write neighbouring numbers. A null pointer is "not given" for an input and "not
// wanted" for an output. Every field has 8 bytes, so that other languages can write it down (Job in
// pontryagin/backend/cuda_launch.py).
#pragma once

namespace pontryagin {

template <class T>
struct DeviceJob {
  // the grid
  long long problems = 0;  // B
  long long steps = 0;     // N
  long long segment = 0;   // S: states on the tape; N where the path of the state is kept
  double t0 = 0.0;
  const T* tau = nullptr;      // [N+1] scaled time
  const T* lengths = nullptr;  // [N] of steps in scaled time
  // arguments
  const T* control = nullptr;  // [K][m][B], or [K][m] where control_shared
  long long control_shared = 0;
  const T* initial_state = nullptr;  // [n][B]
  const T* final_time = nullptr;     // [B]
  const T* parameters = nullptr;     // [q][B]
  const T* data = nullptr;           // [K_d][nd][B], or [K_d][nd] where data_shared
  long long data_shared = 0;
  const T* multipliers = nullptr;          // [r][B]
  const T* penalties = nullptr;            // [r][B]
  const T* objective_cotangent = nullptr;  // [B]
  const T* state_cotangent = nullptr;      // [N+1][n][B]
  // workspace
  T* tape = nullptr;    // [S][n][B] states of a segment, where there is a way back and no path is kept
  T* starts = nullptr;  // [ceil(N/S)][n][B] states at the start of segments, where S < N
  // results
  T* objective = nullptr;                 // [B]
  T* lagrangian = nullptr;                // [B]
  T* terminal = nullptr;                  // [r][B]
  T* state = nullptr;                     // [N+1][n][B]
  T* costate = nullptr;                   // [N+1][n][B]
  T* control_derivative = nullptr;        // [K][m][B], also where the control is shared: the sum comes after
  T* initial_state_derivative = nullptr;  // [n][B]
  T* parameter_derivative = nullptr;      // [q][B]
  T* final_time_derivative = nullptr;     // [B]
};

}  // namespace pontryagin
