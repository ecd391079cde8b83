#include "data/resize_loops.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cskd::data {
namespace {

template <typename Coefficient>
constexpr int kBits = sizeof(Coefficient) == 4 ? kCoefficientBits : kFastCoefficientBits;
template <typename Coefficient>
constexpr std::int32_t kHalf = 1 << (kBits<Coefficient> - 1);

template <typename Coefficient>
std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kBits<Coefficient>, 0, 255));
}

template <typename Coefficient>
void columns_portable(const std::uint8_t* from, int origin, const AxisOf<Coefficient>& axis, int width,
                      std::uint8_t* to) {
  for (int x = 0; x < width; ++x, to += kColumnBytes) {
    const auto [first, count] = axis.windows[static_cast<std::size_t>(x)];
    const std::uint8_t* column = from + std::ptrdiff_t{kColumnBytes} * (first - origin);
    const Coefficient* coefficients = axis.of(x);
    std::int32_t sums[kColumnBytes];
    std::fill_n(sums, kColumnBytes, kHalf<Coefficient>);
    for (int k = 0; k < count; ++k, column += kColumnBytes) {
      for (int i = 0; i < kColumnBytes; ++i) sums[i] += column[i] * coefficients[k];
    }
    std::transform(sums, sums + kColumnBytes, to, rounded<Coefficient>);
  }
}

// Bytes [start, row_bytes).
template <typename Coefficient>
void rows_portable_from(std::size_t start, const std::uint8_t* from, const Coefficient* coefficients, int count,
                        std::size_t row_bytes, std::uint8_t* to) {
  constexpr std::size_t kBlock = 64;
  for (std::size_t block = start; block < row_bytes; block += kBlock) {
    const std::size_t size = std::min(kBlock, row_bytes - block);
    std::int32_t sums[kBlock];
    std::fill_n(sums, kBlock, kHalf<Coefficient>);
    const std::uint8_t* row = from + block;
    for (int k = 0; k < count; ++k, row += row_bytes) {
      for (std::size_t i = 0; i < size; ++i) sums[i] += row[i] * coefficients[k];
    }
    std::transform(sums, sums + size, to + block, rounded<Coefficient>);
  }
}

template <typename Coefficient>
void rows_portable(const std::uint8_t* from, const Coefficient* coefficients, int count, std::size_t row_bytes,
                   std::uint8_t* to) {
  rows_portable_from(0, from, coefficients, count, row_bytes, to);
}

#if defined(__x86_64__)

#define CSKD_AVX2 __attribute__((target("avx2")))

CSKD_AVX2 inline __m256i widened(const std::uint8_t* eight) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(eight)));
}

// Two times eight sums to bytes, in order.
template <typename Coefficient>
CSKD_AVX2 inline __m128i packed(__m256i first, __m256i second) {
  const __m256i words =
      _mm256_packs_epi32(_mm256_srai_epi32(first, kBits<Coefficient>), _mm256_srai_epi32(second, kBits<Coefficient>));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  // Packing works on both halves of a register apart: the fours of bytes lie there as 0, 2 and 1, 3.
  return _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
}

CSKD_AVX2 void columns_avx2(const std::uint8_t* from, int origin, const Axis& axis, int width, std::uint8_t* to) {
  for (int x = 0; x < width; ++x, to += kColumnBytes) {
    const auto [first_column, count] = axis.windows[static_cast<std::size_t>(x)];
    const std::uint8_t* column = from + std::ptrdiff_t{kColumnBytes} * (first_column - origin);
    const std::int32_t* coefficients = axis.of(x);
    __m256i first = _mm256_set1_epi32(kHalf<std::int32_t>);
    __m256i second = first;
    for (int k = 0; k < count; ++k, column += kColumnBytes) {
      const __m256i coefficient = _mm256_set1_epi32(coefficients[k]);
      first = _mm256_add_epi32(first, _mm256_mullo_epi32(widened(column), coefficient));
      second = _mm256_add_epi32(second, _mm256_mullo_epi32(widened(column + 8), coefficient));
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed<std::int32_t>(first, second));
  }
}

CSKD_AVX2 void rows_avx2(const std::uint8_t* from, const std::int32_t* coefficients, int count, std::size_t row_bytes,
                         std::uint8_t* to) {
  constexpr std::size_t kBlock = 32;
  std::size_t block = 0;
  for (; block + kBlock <= row_bytes; block += kBlock) {
    __m256i sums[4];
    std::fill_n(sums, 4, _mm256_set1_epi32(kHalf<std::int32_t>));
    const std::uint8_t* row = from + block;
    for (int k = 0; k < count; ++k, row += row_bytes) {
      const __m256i coefficient = _mm256_set1_epi32(coefficients[k]);
      for (int i = 0; i < 4; ++i) {
        sums[i] = _mm256_add_epi32(sums[i], _mm256_mullo_epi32(widened(row + std::ptrdiff_t{8} * i), coefficient));
      }
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block), packed<std::int32_t>(sums[0], sums[1]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block + 16), packed<std::int32_t>(sums[2], sums[3]));
  }
  rows_portable_from(block, from, coefficients, count, row_bytes, to);
}

// Two coefficients side by side, for two samples side by side: one instruction multiplies and adds both.
CSKD_AVX2 inline __m256i pair(const std::int16_t* coefficients) {
  std::int32_t both = 0;
  std::memcpy(&both, coefficients, sizeof both);
  return _mm256_set1_epi32(both);
}

CSKD_AVX2 inline __m256i add_products(__m256i sums, __m128i pairs_of_bytes, __m256i coefficients) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_cvtepu8_epi16(pairs_of_bytes), coefficients));
}

CSKD_AVX2 void fast_columns_avx2(const std::uint8_t* from, int origin, const FastAxis& axis, int width,
                                 std::uint8_t* to) {
  for (int x = 0; x < width; ++x, to += kColumnBytes) {
    const auto [first_column, count] = axis.windows[static_cast<std::size_t>(x)];
    const std::uint8_t* column = from + std::ptrdiff_t{kColumnBytes} * (first_column - origin);
    const std::int16_t* coefficients = axis.of(x);
    __m256i first = _mm256_set1_epi32(kHalf<std::int16_t>);
    __m256i second = first;
    // The last one of an odd number is paired with a coefficient of zero.
    for (int k = 0; k < count; k += 2, column += std::ptrdiff_t{2} * kColumnBytes) {
      const __m256i both = pair(coefficients + k);
      const __m128i left = _mm_loadu_si128(reinterpret_cast<const __m128i*>(column));
      const __m128i right = _mm_loadu_si128(reinterpret_cast<const __m128i*>(column + kColumnBytes));
      first = add_products(first, _mm_unpacklo_epi8(left, right), both);
      second = add_products(second, _mm_unpackhi_epi8(left, right), both);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed<std::int16_t>(first, second));
  }
}

CSKD_AVX2 void fast_rows_avx2(const std::uint8_t* from, const std::int16_t* coefficients, int count,
                              std::size_t row_bytes, std::uint8_t* to) {
  constexpr std::size_t kBlock = 32;
  std::size_t block = 0;
  for (; block + kBlock <= row_bytes; block += kBlock) {
    __m256i sums[4];
    std::fill_n(sums, 4, _mm256_set1_epi32(kHalf<std::int16_t>));
    const std::uint8_t* row = from + block;
    for (int k = 0; k < count; k += 2, row += 2 * row_bytes) {
      const __m256i both = pair(coefficients + k);
      const std::uint8_t* next = k + 1 < count ? row + row_bytes : row;
      for (std::size_t half = 0; half < 2; ++half) {
        const __m128i upper = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 16 * half));
        const __m128i lower = _mm_loadu_si128(reinterpret_cast<const __m128i*>(next + 16 * half));
        sums[2 * half] = add_products(sums[2 * half], _mm_unpacklo_epi8(upper, lower), both);
        sums[2 * half + 1] = add_products(sums[2 * half + 1], _mm_unpackhi_epi8(upper, lower), both);
      }
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block), packed<std::int16_t>(sums[0], sums[1]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + block + 16), packed<std::int16_t>(sums[2], sums[3]));
  }
  rows_portable_from(block, from, coefficients, count, row_bytes, to);
}

#endif

}  // namespace

ResizeLoops portable_resize_loops() { return {columns_portable<std::int32_t>, rows_portable<std::int32_t>}; }
FastResizeLoops portable_fast_resize_loops() { return {columns_portable<std::int16_t>, rows_portable<std::int16_t>}; }

FastResizeLoops fastest_fast_resize_loops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) return {fast_columns_avx2, fast_rows_avx2};
#endif
  return portable_fast_resize_loops();
}

ResizeLoops fastest_resize_loops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) return {columns_avx2, rows_avx2};
#endif
  return portable_resize_loops();
}

}  // namespace cskd::data
