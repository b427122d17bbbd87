// The end of the horizon: terminal cost, terminal constraints with their multipliers, and the costate there.
//
//     e = (psi, gamma),  J_a = omega_0 J + sum_j a_j(e_j),  p(t1) = omega_0 phi_x + sum_j omega_j e_jx,  omega_j = a_j'(e_j)
//     equality psi = 0:     a = nu e + rho/2 e^2                               omega = nu + rho e
//     inequality gamma <= 0: a = (max(0, nu + rho e)^2 - nu^2) / (2 rho)        omega = max(0, nu + rho e)
//                            (nu e and nu where rho = 0)
//
// The augmented Lagrangian of Powell (1969), Hestenes (1969) and Rockafellar (1973).
//
// Model concept: Constraints (array of r), r(), equalities(), TerminalCut,
//     terminal(t, x, theta, phi, e, cut)
//     terminal_pullback(cut, t, theta, omega_0, omega, g)       g: Gradient {x, theta, t} of omega_0 phi + omega.e
#pragma once

#include "macros.hpp"
#include "step.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Real>
struct Penalised {
  Real value, weight;
};

template <class Real>
PMP_HD Penalised<Real> penalised_equality(Real e, Real nu, Real rho) {
  return {e * fma(Real(0.5) * rho, e, nu), fma(rho, e, nu)};
}

template <class Real>
PMP_HD Penalised<Real> penalised_inequality(Real e, Real nu, Real rho) {
  const Real zero(0.0);
  const auto plain = rho == zero;
  const Real slope = fma(rho, e, nu);
  // Where the constraint acts, (slope^2 - nu^2) / (2 rho) is that of an equality, written without the cancellation.
  const Real two_rho = select(plain, Real(1.0), rho + rho);
  const Real active = e * fma(Real(0.5) * rho, e, nu), inactive = (nu * nu) / (zero - two_rho);
  const Real value = select(slope < zero, inactive, active);
  return {select(plain, nu * e, value), select(plain, nu, max(zero, slope))};
}

template <class Model>
struct TerminalValue {
  typename Model::Real objective, lagrangian;
  typename Model::Constraints e, omega;
  typename Model::TerminalCut cut;
};

// `value` arrives with arrays of the right size; cost is the running cost up to t1.
template <class Model>
PMP_HD void terminal_forward(const Model& model, typename Model::Real t1, const typename Model::State& x,
                             const typename Model::Parameters& theta, typename Model::Real cost,
                             typename Model::Real omega_0, const typename Model::Constraints& nu,
                             const typename Model::Constraints& rho, TerminalValue<Model>& value) {
  using Real = typename Model::Real;
  Real phi(0.0);
  model.terminal(t1, x, theta, phi, value.e, value.cut);
  value.objective = cost + phi;
  value.lagrangian = omega_0 * value.objective;
  each(model.r(), [&](auto j) PMP_INLINE_LAMBDA {
    const Penalised<Real> term = j < model.equalities() ? penalised_equality(value.e[j], nu[j], rho[j])
                                                        : penalised_inequality(value.e[j], nu[j], rho[j]);
    value.lagrangian = value.lagrangian + term.value;
    value.omega[j] = term.weight;
  });
}

}  // namespace PMP_ISA
}  // namespace pontryagin
