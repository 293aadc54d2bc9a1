// expect-success
// The case beside override_declared_but_missing: without the declaration the plain form is used.
#include <negood/backend/reference.hpp>
#include <negood/math/logsumexp.hpp>

struct modest : negood::reference::context<float> {};

int main() {
  modest ctx;
  negood::logsumexp_rows(ctx, ctx.zeros(2, 3));
}
