// The gradient of a batch of cart-pole problems, written by hand: what a person reaches who has a week for one problem.
//
//   J = int u^2 dt + 100 |x(T) - (1, pi, 0, 0)|^2,   N Runge-Kutta steps (RK4), u constant in each step, and dJ/du
//
// with state x = (position, angle, velocity, rate) and force u. The forward sweep keeps, for each stage, the few values
// that the way back needs; the way back is the exact transpose of the forward step. Several problems run in lock step,
// one to a SIMD lane, in two interleaved vectors, so that the latency of one hides behind the work of the other. One
// problem alone runs on plain scalars. Arrays are [component][problem] and [step][problem], which suits the lanes best.
//
// It is a mark to measure by, not a part of the package: it is built with -march=native and lets the compiler fuse
// multiplications with additions as it likes, which nothing that is distributed may do, and it takes its numbers in the
// layout that it likes best.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define INLINE inline __attribute__((always_inline))

namespace {

// ---- numbers ------------------------------------------------------------------------------------------------------

template <class T>
using Integer = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

template <class T>
struct Scalar {
  using Number = T;
  using Value = T;
  using Bits = Integer<T>;
};

template <class T>
struct Vector {
  using Number = T;
  typedef T Value __attribute__((vector_size(VECTOR_BYTES)));
  typedef Integer<T> Bits __attribute__((vector_size(VECTOR_BYTES)));
};

// `parts` registers that go through every operation side by side.
template <class Register, int parts>
struct Pack {
  using Number = typename Register::Number;
  using Value = typename Register::Value;
  static constexpr int width = sizeof(Value) / sizeof(Number), lanes = parts * width;
  Value part[parts];

  Pack() = default;
  INLINE Pack(double value) {
    for (Value& v : part) v = Value{} + static_cast<Number>(value);
  }
  static INLINE Pack load(const Number* from) {
    Pack r;
    for (Value& v : r.part) std::memcpy(&v, from, sizeof v), from += width;
    return r;
  }
  INLINE void store(Number* to) const {
    for (const Value& v : part) std::memcpy(to, &v, sizeof v), to += width;
  }
};

#define PACK_OPERATOR(op)                                                                       \
  template <class R, int parts>                                                                 \
  INLINE Pack<R, parts> operator op(Pack<R, parts> a, Pack<R, parts> b) {                       \
    Pack<R, parts> r;                                                                           \
    _Pragma("GCC unroll 8") for (int i = 0; i < parts; ++i) r.part[i] = a.part[i] op b.part[i]; \
    return r;                                                                                   \
  }                                                                                             \
  template <class R, int parts>                                                                 \
  INLINE Pack<R, parts> operator op(double a, Pack<R, parts> b) {                               \
    Pack<R, parts> r;                                                                           \
    _Pragma("GCC unroll 8") for (int i = 0; i < parts; ++i) r.part[i] =                         \
        static_cast<typename R::Number>(a) op b.part[i];                                        \
    return r;                                                                                   \
  }
PACK_OPERATOR(+)
PACK_OPERATOR(-)
PACK_OPERATOR(*)
PACK_OPERATOR(/)

// ---- sine and cosine together -------------------------------------------------------------------------------------

// Minimax polynomials of Cephes on |r| <= pi/4.
template <class Register, class V = typename Register::Value>
INLINE void polynomials(V r, V& sine, V& cosine) {
  using T = typename Register::Number;
  const V z = r * r;
  if constexpr (sizeof(T) == 4) {
    const V p = T(-1.6666654611e-1) + z * (T(8.3321608736e-3) - z * T(1.9515295891e-4));
    const V q = T(4.166664568298827e-2) + z * (T(-1.388731625493765e-3) + z * T(2.443315711809948e-5));
    sine = r + r * z * p;
    cosine = T(1) - T(0.5) * z + z * z * q;
  } else {
    constexpr double p0 = -1.66666666666666324348e-01, p1 = 8.33333333332248946124e-03,
                     p2 = -1.98412698298579493134e-04, p3 = 2.75573137070700676789e-06,
                     p4 = -2.50507602534068634195e-08, p5 = 1.58969099521155010221e-10;
    constexpr double q0 = 4.16666666666666019037e-02, q1 = -1.38888888888741095749e-03, q2 = 2.48015872894767294178e-05,
                     q3 = -2.75573143513906633035e-07, q4 = 2.08757232129817482790e-09,
                     q5 = -1.13596475577881948265e-11;
    if constexpr (sizeof(V) == sizeof(T)) {  // one problem waits for each result: Estrin's order is the shallower
      const V z2 = z * z, z4 = z2 * z2;
      sine = r + (r * z) * ((p0 + z * p1) + z2 * (p2 + z * p3) + z4 * (p4 + z * p5));
      cosine = (1.0 - 0.5 * z) + z2 * ((q0 + z * q1) + z2 * (q2 + z * q3) + z4 * (q4 + z * q5));
    } else {
      sine = r + r * z * (p0 + z * (p1 + z * (p2 + z * (p3 + z * (p4 + z * p5)))));
      cosine = 1.0 - 0.5 * z + z * z * (q0 + z * (q1 + z * (q2 + z * (q3 + z * (q4 + z * q5)))));
    }
  }
}

// Flips the sign where the top bit of `sign` is set.
template <class V, class I>
INLINE V flip(V value, I sign) {
  I bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits ^= sign;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// x = k pi/2 + r. Adding `magic` rounds x 2/pi to the integer k and leaves its last bits in the mantissa.
template <class Register, class V = typename Register::Value>
INLINE void sine_cosine(V x, V& sine, V& cosine) {
  using T = typename Register::Number;
  using I = typename Register::Bits;
  const T magic = sizeof(T) == 8 ? T(6755399441055744.0) : T(12582912.0f);
  const V shifted = x * T(0.63661977236758134308) + magic, k = shifted - magic;
  I quadrant;
  std::memcpy(&quadrant, &shifted, sizeof quadrant);
  V r;
  if constexpr (sizeof(T) == 8) r = (x - k * 1.57079632673412561417e+00) - k * 6.07710050650619224932e-11;
  else r = ((x - k * T(1.5703125)) - k * T(4.837512969970703125e-4)) - k * T(7.54978995489188e-8);
  V s, c;
  polynomials<Register>(r, s, c);
  constexpr Integer<T> one = 1, two = 2, to_top = sizeof(T) * 8 - 2;
  if constexpr (sizeof(V) == sizeof(T)) {  // branches: the processor guesses them right while it waits
    const V a = (quadrant & one) ? c : s, b = (quadrant & one) ? s : c;
    sine = (quadrant & two) ? -a : a;
    cosine = ((quadrant + one) & two) ? -b : b;
  } else {
    const I odd = (quadrant & one) != 0;
    sine = flip(odd ? c : s, (quadrant & two) << to_top);
    cosine = flip(odd ? s : c, ((quadrant + one) & two) << to_top);
  }
}

template <class R, int parts>
INLINE void sine_cosine(const Pack<R, parts>& x, Pack<R, parts>& sine, Pack<R, parts>& cosine) {
#pragma GCC unroll 8
  for (int i = 0; i < parts; ++i) sine_cosine<R>(x.part[i], sine.part[i], cosine.part[i]);
}

// ---- the problem: Kelly, SIAM Review 59 (2017), section 6 ---------------------------------------------------------

constexpr double cart = 1.0, pole = 0.3, length = 0.5, gravity = 9.81, weight = 100.0, horizon = 2.0;
constexpr double target[4] = {1.0, M_PI, 0.0, 0.0};

// What the way back needs of one stage: sine, cosine, rate, 1/D, accelerations of cart and pole.
template <class P>
struct Cut {
  static constexpr int count = 6;
  P s, c, w, r, a1, a2;
  INLINE void store(typename P::Number* to) const {
    s.store(to), c.store(to + P::lanes), w.store(to + 2 * P::lanes);
    r.store(to + 3 * P::lanes), a1.store(to + 4 * P::lanes), a2.store(to + 5 * P::lanes);
  }
  static INLINE Cut load(const typename P::Number* from) {
    return {P::load(from),
            P::load(from + P::lanes),
            P::load(from + 2 * P::lanes),
            P::load(from + 3 * P::lanes),
            P::load(from + 4 * P::lanes),
            P::load(from + 5 * P::lanes)};
  }
};

// k = f(x, u):  D = cart + pole s^2,
//   a1 =  (l pole s w^2 + u + pole g c s) / D
//   a2 = -(l pole c s w^2 + u c + (cart + pole) g s) / (l D)
template <class P>
INLINE Cut<P> dynamics(const P x[4], P u, P k[4]) {
  Cut<P> o;
  sine_cosine(x[1], o.s, o.c);
  o.w = x[3];
  o.r = 1.0 / (cart + pole * (o.s * o.s));
  const P e = (length * pole) * (o.w * o.w) * o.s + u;
  o.a1 = (e + gravity * ((pole * o.c) * o.s)) * o.r;
  o.a2 = (-1 / length) * ((e * o.c + ((cart + pole) * gravity) * o.s) * o.r);
  k[0] = x[2], k[1] = o.w, k[2] = o.a1, k[3] = o.a2;
  return o;
}

// g = f_x' m, and f_u' m added to `control`. Nothing depends on the position: g[0] = 0 is left out.
template <class P>
INLINE void pullback(const Cut<P>& o, P u, const P m[4], P g[4], P& control) {
  const P b1 = m[2] * o.r, b2 = (-1 / length) * (m[3] * o.r);     // weights of the two numerators
  const P d = (-2 * pole) * (o.r * (m[2] * o.a1 + m[3] * o.a2));  // weight of D, over s
  const P e = b1 + b2 * o.c, lw = (length * pole) * (o.w * o.w);  // weight of l pole s w^2 + u
  const P s = b1 * ((pole * gravity) * o.c) + ((cart + pole) * gravity) * b2 + d * o.s + e * lw;
  const P c = b1 * ((pole * gravity) * o.s) + b2 * (lw * o.s + u);
  control = control + e;
  g[1] = s * o.c - c * o.s;
  g[2] = m[0];
  g[3] = m[1] + (2 * length * pole) * (e * (o.s * o.w));
}

// ---- the sweep ----------------------------------------------------------------------------------------------------

// One block of lanes. Rows are `stride` numbers apart in memory; the tape is [N][4 stages][6][lane].
template <class P, class T = typename P::Number>
INLINE void sweep(const T* x0, const T* u, T* objective, T* gradient, int steps, long stride, T* tape) {
  constexpr long stage = Cut<P>::count * P::lanes, ahead = 8;  // ahead: steps to prefetch, rows are far apart
  const double h = horizon / steps;
  const auto prefetch = [](const T* row) {
    if (P::lanes > 1)
      for (int i = 0; i < P::lanes; i += 64 / static_cast<int>(sizeof(T))) __builtin_prefetch(row + i);
  };

  P x[4], cost = 0.0;
  for (int i = 0; i < 4; ++i) x[i] = P::load(x0 + i * stride);
  for (int n = 0; n < steps; ++n) {
    const P v = P::load(u + n * stride);
    prefetch(u + (n + ahead) * stride);
    T* const cut = tape + n * 4 * stage;
    P k[4], y[4], sum[4];
    dynamics(x, v, k).store(cut);
    for (int i = 0; i < 4; ++i) sum[i] = k[i], y[i] = x[i] + (h / 2) * k[i];
    dynamics(y, v, k).store(cut + stage);
    for (int i = 0; i < 4; ++i) sum[i] = sum[i] + 2.0 * k[i], y[i] = x[i] + (h / 2) * k[i];
    dynamics(y, v, k).store(cut + 2 * stage);
    for (int i = 0; i < 4; ++i) sum[i] = sum[i] + 2.0 * k[i], y[i] = x[i] + h * k[i];
    dynamics(y, v, k).store(cut + 3 * stage);
    for (int i = 0; i < 4; ++i) x[i] = x[i] + (h / 6) * (sum[i] + k[i]);
    cost = cost + h * (v * v);
  }

  P p[4];  // the costate
  for (int i = 0; i < 4; ++i) {
    const P e = x[i] - P(target[i]);
    cost = cost + weight * (e * e);
    p[i] = (2 * weight) * e;
  }
  cost.store(objective);

  for (int n = steps - 1; n >= 0; --n) {
    const P v = P::load(u + n * stride);
    prefetch(u + (n - ahead) * stride);
    prefetch(gradient + (n - ahead) * stride);
    const T* const cut = tape + n * 4 * stage;
    P control = (2 * h) * v, m[4], g[4], sum[4];
    // m_i = h b_i p + h a_{i+1,i} g_{i+1}, from the last stage to the first
    const auto back = [&](int index, double b, double a) __attribute__((always_inline)) {
      m[0] = (h * b) * p[0];
      for (int i = 1; i < 4; ++i) m[i] = a == 0.0 ? (h * b) * p[i] : (h * b) * p[i] + (h * a) * g[i];
      pullback(Cut<P>::load(cut + index * stage), v, m, g, control);
      for (int i = 1; i < 4; ++i) sum[i] = a == 0.0 ? g[i] : sum[i] + g[i];
    };
    back(3, 1.0 / 6, 0.0);
    back(2, 1.0 / 3, 1.0);
    back(1, 1.0 / 3, 0.5);
    back(0, 1.0 / 6, 0.5);
    for (int i = 1; i < 4; ++i) p[i] = p[i] + sum[i];
    control.store(gradient + n * stride);
  }
}

// Whole packs of problems from `first` on; returns the first that is left over.
template <class P, class T = typename P::Number>
long blocks(long first, const T* x0, const T* u, T* objective, T* gradient, int steps, long problems, long stride,
            T* tape) {
  for (; first + P::lanes <= problems; first += P::lanes)
    sweep<P>(x0 + first, u + first, objective + first, gradient + first, steps, stride, tape);
  return first;
}

template <class T>
void batch(const T* x0, const T* u, T* objective, T* gradient, int steps, long problems, long stride, T* tape) {
  const long rest = blocks<Pack<Vector<T>, 2>>(0, x0, u, objective, gradient, steps, problems, stride, tape);
  blocks<Pack<Scalar<T>, 1>>(rest, x0, u, objective, gradient, steps, problems, stride, tape);
}

// Twenty-four independent chains of multiply-adds, as many as one thread can start; returns the number of operations.
template <class T>
double peak(long rounds) {
  constexpr int chains = 24;
  typename Vector<T>::Value sum[chains], factor = typename Vector<T>::Value{} + T(0.999), total{};
  for (int i = 0; i < chains; ++i) sum[i] = factor * T(i);
  for (long n = 0; n < rounds; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * factor + factor;
  }
  for (const auto& s : sum) total += s;
  volatile T keep = total[0];
  (void)keep;
  return static_cast<double>(rounds) * chains * (2 * VECTOR_BYTES / sizeof(T));
}

}  // namespace

// x0 [4][stride], u and gradient [steps][stride], objective [problems]; tape has room for tape_size(steps) numbers.
extern "C" {
long tape_size(int steps) { return 4L * Cut<Pack<Vector<float>, 2>>::count * Pack<Vector<float>, 2>::lanes * steps; }
void cartpole_f64(const double* x0, const double* u, double* objective, double* gradient, int steps, long problems,
                  long stride, double* tape) {
  batch<double>(x0, u, objective, gradient, steps, problems, stride, tape);
}
void cartpole_f32(const float* x0, const float* u, float* objective, float* gradient, int steps, long problems,
                  long stride, float* tape) {
  batch<float>(x0, u, objective, gradient, steps, problems, stride, tape);
}
double peak_f64(long rounds) { return peak<double>(rounds); }
double peak_f32(long rounds) { return peak<float>(rounds); }
}
