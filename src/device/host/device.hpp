// The host as a device: memory of this process. Uploads are copies that are over when they return; who can, reads
// straight into Buffer::host_bytes instead.
#pragma once

#include "device/driver.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace headrace::device::host {

/// Has one device, always.
const Driver& driver();

/// Memory of this process that begins at a page; for staging, and for whoever has nothing better.
/// Throws Error(no_space), naming `device`.
std::unique_ptr<DeviceBlock> make_pages(const std::string& device, std::size_t bytes);

}  // namespace headrace::device::host
