// A stand-in for NVIDIA's management library: as many GPUs as FAKE_NVML_GPUS says, the last of them troubled as
// FAKE_NVML_TROUBLE says. It is loaded as libnvidia-ml.so.1.
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int count() {
  const char* const value = std::getenv("FAKE_NVML_GPUS");
  return value == nullptr ? 0 : std::atoi(value);
}

bool has_trouble(void* device, const char* trouble) {
  const char* const value = std::getenv("FAKE_NVML_TROUBLE");
  return value != nullptr && std::string(value) == trouble &&
         device == reinterpret_cast<void*>(static_cast<long>(count()));
}

template <typename Number, typename Value>
int give(Number* target, Value value) {
  *target = static_cast<Number>(value);
  return 0;
}

}  // namespace

extern "C" {

int nvmlInit_v2() { return has_trouble(reinterpret_cast<void*>(static_cast<long>(count())), "no driver") ? 9 : 0; }
int nvmlShutdown() { return 0; }
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "580.82", size);
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* number) { return give(number, count()); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = reinterpret_cast<void*>(static_cast<long>(index) + 1);
  return has_trouble(*device, "lost") ? 15 : 0;
}
int nvmlDeviceGetName(void*, char* text, unsigned size) {
  std::strncpy(text, "Fake GPU", size);
  return 0;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned size) {
  std::strncpy(text, ("GPU-" + std::to_string(reinterpret_cast<long>(device))).c_str(), size);
  return 0;
}
int nvmlDeviceGetPciInfo_v3(void*, void* info) {
  std::strncpy(static_cast<char*>(info) + 36, "00000000:3B:00.0", 32);
  return 0;
}
int nvmlDeviceGetTemperature(void* device, int, unsigned* degrees) {
  return give(degrees, has_trouble(device, "hot") ? 89 : 40);
}
int nvmlDeviceGetTemperatureThreshold(void*, int kind, unsigned* degrees) { return give(degrees, kind == 1 ? 90 : 95); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* bits) {
  return give(bits, has_trouble(device, "throttled") ? 0x85 : 0x05);  // idle and its power limit are ordinary
}
int nvmlDeviceGetTotalEccErrors(void* device, int kind, int since, unsigned long long* number) {
  return give(number, has_trouble(device, "ecc") && kind == 1 && since == 0 ? 3 : 0);
}
int nvmlDeviceGetRemappedRows(void* device, unsigned* corrected, unsigned* uncorrected, unsigned* pending,
                              unsigned* failed) {
  *corrected = *uncorrected = 0;
  *pending = has_trouble(device, "pending") ? 1 : 0;
  *failed = has_trouble(device, "failed") ? 1 : 0;
  return 0;
}
int nvmlDeviceGetComputeMode(void* device, int* mode) { return give(mode, has_trouble(device, "prohibited") ? 2 : 0); }
int nvmlDeviceGetComputeRunningProcesses(void* device, unsigned* number, void*) {
  *number = has_trouble(device, "shared") ? 2 : 0;
  return *number > 0 ? 7 : 0;
}
int nvmlDeviceGetCurrPcieLinkWidth(void* device, unsigned* lanes) {
  return give(lanes, has_trouble(device, "lanes") ? 4 : 16);
}
int nvmlDeviceGetMaxPcieLinkWidth(void*, unsigned* lanes) { return give(lanes, 16); }
// nvmlDeviceGetPersistenceMode is missing, as functions are in some drivers.

}  // extern "C"
