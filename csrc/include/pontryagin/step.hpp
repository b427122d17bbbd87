// One Runge-Kutta step of the state equation and its exact transpose, the step of the costate equation.
//
// Forward, for stages i = 1..s with u_i the control at t_i = t + c_i h:
//
//     X_i = x_k + h sum_{j<i} a_ij f_j,     f_i = f(t_i, X_i, u_i),     L_i = L(t_i, X_i, u_i)
//     x_{k+1} = x_k + h sum_i b_i f_i,      J_{k+1} = J_k + h sum_i b_i L_i
//
// Transposing that program line by line from the end, with p = dJ_a/dx_{k+1} and omega = dJ_a/dJ: f_i enters x_{k+1}
// with the factor h b_i and the stages l > i through X_l with the factor h a_li, so that what multiplies df_i is
// m_i = h b_i p + h sum_{l>i} a_li g_l, where g_i = dJ_a/dX_i = w_i L_x + m_i f_x and w_i = omega h b_i. Hence
//
//     for i = s..1:  w_i = omega h b_i,   m_i = h b_i p_{k+1} + h sum_{l>i} a_li g_l,   g_i = w_i L_x + m_i f_x
//     p_k = p_{k+1} + sum_i g_i,          dJ_a/du_i = w_i L_u + m_i f_u
//
// with no division by b_i, which is zero in several tableaus. (Hager 2000 has the symplectic form of the same.)
//
// Model concept (sizes n, m, q, nd may be constants or functions of the object):
//     State, Control, Parameters, Data   arrays of Real with operator[]
//     Cut                                what `pullback` needs of the forward pass at one stage
//     dynamics(t, x, u, theta, d, f, L, cut)
//     pullback(cut, t, u, theta, d, w, m, g)      g: Gradient {x, u, theta, t} of w L + m.f
//     enters(r)                                   false where f and L do not depend on x_r: g.x[r] is not even read
//     cost_varies(), cost_has_control(), cost_has_data()      whether L depends on t or x, on u, on d
#pragma once

#include "each.hpp"
#include "macros.hpp"
#include "tableau.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// What one step knows. A linear control (or data) has values at both ends, a constant one only at the first.
template <class Model>
struct StepInput {
  typename Model::Real t0, t, h;
  typename Model::State x;
  typename Model::Control u, u_next;
  const typename Model::Parameters* theta = nullptr;
  typename Model::Data d, d_next;
  bool linear_control = false, linear_data = false;
};

template <class Model>
struct Stage {
  typename Model::Real t, L;
  typename Model::State f;
  typename Model::Control u;
  typename Model::Data d;
  typename Model::Cut cut;
};

template <class Model>
struct Gradient {
  typename Model::State x;
  typename Model::Control u;
  typename Model::Parameters theta;
  typename Model::Real t;
};

template <class Real, class Array, class Count>
PMP_INLINE void interpolate(const Array& at_start, const Array& at_end, Count size, bool linear, double c, Array& out) {
  each(size, [&](auto j) PMP_INLINE_LAMBDA {
    out[j] = !linear || c == 0.0 ? at_start[j]
             : c == 1.0          ? at_end[j]
                                 : fma(Real(c), at_end[j], Real(1.0 - c) * at_start[j]);
  });
}

// Time, control and data of a stage: known before the state there is.
template <class Model>
PMP_INLINE void stage_inputs(const Model& model, double c, const StepInput<Model>& in, Stage<Model>& stage) {
  using Real = typename Model::Real;
  stage.t = c == 0.0 ? in.t : fma(Real(c), in.h, in.t);
  interpolate<Real>(in.u, in.u_next, model.m(), in.linear_control, c, stage.u);
  interpolate<Real>(in.d, in.d_next, model.nd(), in.linear_data, c, stage.d);
}

// Fills the stages, x_next = x_{k+1} and cost = J_{k+1}, given cost = J_k. `keep(i)` is called as soon as stage i is
// complete, so that what goes to a tape goes there at once and not by way of the stack.
template <class Model, class Method, class Keep>
PMP_INLINE void step_forward(const Model& model, const Method& tableau, const StepInput<Model>& in,
                             Stage<Model>* stages, typename Model::State& x_next, typename Model::Real& cost,
                             Keep keep) {
  using Real = typename Model::Real;
  // The same L at all stages: it is taken once, as the weights sum to 1.
  const bool steady = !model.cost_varies() && !(model.cost_has_control() && in.linear_control) &&
                      !(model.cost_has_data() && in.linear_data);
  typename Model::State X = in.x;
  x_next = in.x;
  each(tableau.count(), [&](auto i) PMP_INLINE_LAMBDA {
    Stage<Model>& stage = stages[i];
    X = in.x;
    each(i, [&](auto j) PMP_INLINE_LAMBDA {
      if (tableau.a[i][j] == 0.0) return;
      const Real ha = Real(tableau.a[i][j]) * in.h;
      each(model.n(), [&](auto r) PMP_INLINE_LAMBDA { X[r] = fma(ha, stages[j].f[r], X[r]); });
    });
    stage_inputs(model, tableau.c[i], in, stage);
    model.dynamics(stage.t, X, stage.u, *in.theta, stage.d, stage.f, stage.L, stage.cut);
    keep(i);
    if (tableau.b[i] == 0.0) return;
    const Real hb = Real(tableau.b[i]) * in.h;
    each(model.n(), [&](auto r) PMP_INLINE_LAMBDA { x_next[r] = fma(hb, stage.f[r], x_next[r]); });
    if (!steady) cost = fma(hb, stage.L, cost);
  });
  if (steady) cost = fma(in.h, stages[0].L, cost);
}

// What the transposed step adds to. u and u_next receive dJ_a/du_k and, for a linear control, dJ_a/du_{k+1};
// `span` receives (t1 - t0) dJ_a/dt1 = sum_i (w_i L + m_i.f) + (w_i L_t + m_i f_t)(t_i - t0).
template <class Model>
struct StepAdjoint {
  typename Model::State p;  // p_{k+1} in, p_k out
  typename Model::Control u, u_next;
  typename Model::Parameters theta;
  typename Model::Real span;
  bool with_parameters = true, with_span = false;
};

// The last weight that is not zero. Those before it are often small multiples of it, as 1, 2, 2, 1 of RK4.
template <class Method>
PMP_INLINE double last_weight(const Method& tableau) {
  double weight = 1.0;
  each(tableau.count(), [&](auto i) PMP_INLINE_LAMBDA { weight = tableau.b[i] != 0.0 ? tableau.b[i] : weight; });
  return weight;
}

// c v, where c is known and often small; the double is a sum, as adders have less to do than multipliers.
template <class Real>
PMP_INLINE Real multiple(double c, Real v) {
  return c == 1.0 ? v : c == 2.0 ? v + v : Real(c) * v;
}

// `recall(i)` is called before stage i is needed. All of a step is measured in units of h b_l, b_l the last weight: w_i
// is omega b_i / b_l, m_i is b_i / b_l p + h sum_{l>i} a_li g_l, and what a step adds up is multiplied by h b_l at its end.
template <class Model, class Method, class Recall>
PMP_INLINE void step_backward(const Model& model, const Method& tableau, const StepInput<Model>& in,
                              const Stage<Model>* stages, typename Model::Real omega, StepAdjoint<Model>& out,
                              Recall recall) {
  using Real = typename Model::Real;
  const double last = last_weight(tableau);
  const Real unit = Real(last) * in.h;
  typename Model::State g[max_stages];
  StepAdjoint<Model> sum = out;
  if (in.linear_control) each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { sum.u_next[j] = Real(0.0); });
  if (out.with_parameters) each(model.q(), [&](auto j) PMP_INLINE_LAMBDA { sum.theta[j] = Real(0.0); });
  if (out.with_span) sum.span = Real(0.0);
  each_reversed(tableau.count(), [&](auto i) PMP_INLINE_LAMBDA {
    recall(i);
    const Stage<Model>& stage = stages[i];
    const double weight = tableau.b[i] / last;
    typename Model::State m = out.p;
    each(model.n(), [&](auto r) PMP_INLINE_LAMBDA { m[r] = multiple(weight, out.p[r]); });
    each_after(i, tableau.count(), [&](auto l) PMP_INLINE_LAMBDA {
      if (tableau.a[l][i] == 0.0) return;
      const Real ha = Real(tableau.a[l][i]) * in.h;
      each(model.n(), [&](auto r) PMP_INLINE_LAMBDA {
        if (model.enters(r)) m[r] = fma(ha, g[l][r], m[r]);
      });
    });
    const Real w = multiple(weight, omega);
    Gradient<Model> gradient;
    model.pullback(stage.cut, stage.t, stage.u, *in.theta, stage.d, w, m, gradient);
    g[i] = gradient.x;
    const bool first = i + 1 == tableau.count();
    const double c = in.linear_control ? tableau.c[i] : 0.0;
    each(model.m(), [&](auto j) PMP_INLINE_LAMBDA {
      if (first) sum.u[j] = multiple(1.0 - c, gradient.u[j]);
      else sum.u[j] = c == 0.0 ? sum.u[j] + gradient.u[j] : fma(Real(1.0 - c), gradient.u[j], sum.u[j]);
      if (in.linear_control && c != 0.0) sum.u_next[j] = fma(Real(c), gradient.u[j], sum.u_next[j]);
    });
    if (out.with_parameters)
      each(model.q(), [&](auto j) PMP_INLINE_LAMBDA { sum.theta[j] = sum.theta[j] + gradient.theta[j]; });
    if (out.with_span) {
      sum.span = fma(w, stage.L, fma(gradient.t, stage.t - in.t0, sum.span));
      each(model.n(), [&](auto r) PMP_INLINE_LAMBDA { sum.span = fma(m[r], stage.f[r], sum.span); });
    }
    each(model.n(), [&](auto r) PMP_INLINE_LAMBDA {
      if (model.enters(r)) sum.p[r] = first ? g[i][r] : sum.p[r] + g[i][r];
    });
  });
  each(model.n(), [&](auto r) PMP_INLINE_LAMBDA {
    if (model.enters(r)) out.p[r] = fma(unit, sum.p[r], out.p[r]);
  });
  each(model.m(), [&](auto j) PMP_INLINE_LAMBDA {
    out.u[j] = fma(unit, sum.u[j], out.u[j]);
    if (in.linear_control) out.u_next[j] = fma(unit, sum.u_next[j], out.u_next[j]);
  });
  if (out.with_parameters)
    each(model.q(), [&](auto j) PMP_INLINE_LAMBDA { out.theta[j] = fma(unit, sum.theta[j], out.theta[j]); });
  if (out.with_span) out.span = fma(unit, sum.span, out.span);
}

}  // namespace PMP_ISA
}  // namespace pontryagin
