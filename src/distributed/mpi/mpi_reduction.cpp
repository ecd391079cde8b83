#include "distributed/mpi/mpi_reduction.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <string_view>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// Smaller tensors go as a whole: fewer messages.
constexpr std::int64_t kSmallBytes = 16 << 10;

template <typename Number, bool kIsMax>
void reduce(void* from, void* to, int* count, MPI_Datatype*) {
  const auto* source = static_cast<const Number*>(from);
  auto* target = static_cast<Number*>(to);
  for (int i = 0; i < *count; ++i) {
    const auto left = static_cast<float>(source[i]);
    const auto right = static_cast<float>(target[i]);
    target[i] = static_cast<Number>(kIsMax ? std::max(left, right) : left + right);
  }
}

template <typename Number>
void add(Number* target, const Number* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) target[i] += from[i];
}

// Both ways at once, in pieces that an int can count.
void exchange(const void* send, std::int64_t send_bytes, void* receive, std::int64_t receive_bytes, int partner,
              MPI_Comm channel) {
  constexpr std::int64_t kMostBytes = 1 << 30;
  const auto* from = static_cast<const char*>(send);
  auto* to = static_cast<char*>(receive);
  do {
    const auto out = static_cast<int>(std::min(kMostBytes, send_bytes));
    const auto in = static_cast<int>(std::min(kMostBytes, receive_bytes));
    check_mpi(MPI_Sendrecv(from, out, MPI_BYTE, partner, 0, to, in, MPI_BYTE, partner, 0, channel, MPI_STATUS_IGNORE),
              "MPI_Sendrecv");
    from += out;
    to += in;
    send_bytes -= out;
    receive_bytes -= in;
  } while (send_bytes > 0 || receive_bytes > 0);
}

struct Part {
  std::int64_t first;
  std::int64_t end;
};

template <typename Number>
void sum_in_tree(Number* data, std::int64_t count, MPI_Comm channel) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(Number));
  int rank = 0;
  int ranks = 1;
  check_mpi(MPI_Comm_rank(channel, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(channel, &ranks), "MPI_Comm_size");
  CSKD_CHECK(std::has_single_bit(static_cast<unsigned>(ranks)), "{} ranks have no tree", ranks);
  const bool is_small = count * kSize <= kSmallBytes;
  const auto received =
      std::make_unique_for_overwrite<Number[]>(static_cast<std::size_t>(is_small ? count : count / 2 + 1));

  // The part that this rank sums, halved with each partner; small tensors are not halved.
  std::vector<Part> parts{{0, count}};
  for (int distance = 1; distance < ranks; distance *= 2) {
    const int partner = rank ^ distance;
    const Part part = parts.back();
    if (is_small) {
      exchange(data, count * kSize, received.get(), count * kSize, partner, channel);
      add(data, received.get(), count);
      continue;
    }
    const std::int64_t middle = part.first + (part.end - part.first) / 2;
    const Part lower{part.first, middle};
    const Part upper{middle, part.end};
    const bool is_lower = rank < partner;
    const Part& own = is_lower ? lower : upper;
    const Part& other = is_lower ? upper : lower;
    exchange(data + other.first, (other.end - other.first) * kSize, received.get(), (own.end - own.first) * kSize,
             partner, channel);
    add(data + own.first, received.get(), own.end - own.first);
    parts.push_back(own);
  }
  for (int distance = ranks / 2; distance >= 1 && !is_small; distance /= 2) {
    const Part own = parts.back();
    parts.pop_back();
    const Part whole = parts.back();
    const Part other = own.first == whole.first ? Part{own.end, whole.end} : Part{whole.first, own.first};
    exchange(data + own.first, (own.end - own.first) * kSize, data + other.first, (other.end - other.first) * kSize,
             rank ^ distance, channel);
  }
}

}  // namespace

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw runtime::Error(fmt::format("{}: {}", call, std::string_view(text, static_cast<std::size_t>(length))));
}

MpiTypes::MpiTypes() {
  check_mpi(MPI_Op_create(reduce<c10::Half, false>, 1, &sum_half_), "MPI_Op_create");
  check_mpi(MPI_Op_create(reduce<c10::Half, true>, 1, &max_half_), "MPI_Op_create");
  check_mpi(MPI_Op_create(reduce<c10::BFloat16, false>, 1, &sum_bfloat16_), "MPI_Op_create");
  check_mpi(MPI_Op_create(reduce<c10::BFloat16, true>, 1, &max_bfloat16_), "MPI_Op_create");
}

MpiTypes::~MpiTypes() {
  for (MPI_Op* operation : {&sum_half_, &max_half_, &sum_bfloat16_, &max_bfloat16_}) MPI_Op_free(operation);
}

MPI_Datatype MpiTypes::type(at::ScalarType type) const {
  switch (type) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    case at::kHalf:
    case at::kBFloat16:
      return MPI_UINT16_T;
    default:
      CSKD_CHECK(false, "no MPI type for {}", at::toString(type));
      return MPI_DATATYPE_NULL;
  }
}

MPI_Op MpiTypes::operation(at::ScalarType type, Reduction reduction) const {
  const bool is_max = reduction == Reduction::kMax;
  if (type == at::kHalf) return is_max ? max_half_ : sum_half_;
  if (type == at::kBFloat16) return is_max ? max_bfloat16_ : sum_bfloat16_;
  return is_max ? MPI_MAX : MPI_SUM;
}

void tree_all_reduce(const at::Tensor& tensor, MPI_Comm channel) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return sum_in_tree(tensor.data_ptr<float>(), tensor.numel(), channel);
    case at::kDouble:
      return sum_in_tree(tensor.data_ptr<double>(), tensor.numel(), channel);
    case at::kLong:
      return sum_in_tree(tensor.data_ptr<std::int64_t>(), tensor.numel(), channel);
    default:
      CSKD_CHECK(false, "no tree sum of {}", at::toString(tensor.scalar_type()));
  }
}

}  // namespace cskd::distributed
