// expect: fused
// A backend that declares an override must have it: there is no silent way back to the plain form.
#include <negood/backend/reference.hpp>
#include <negood/math/logsumexp.hpp>

struct boastful : negood::reference::context<float> {
  using overrides = negood::override_list<negood::logsumexp_rows_t>;
};

int main() {
  boastful ctx;
  negood::logsumexp_rows(ctx, ctx.zeros(2, 3));
}
