// Checks for launches that are not what they seem.
//
// Note [Silent singletons]
// When srun and MPI do not share a process-management interface, srun -n 4 starts four worlds of one, each of which
// believes it is rank 0 of 1: four jobs would then write the same files. So the size that MPI reports is held against
// what the launcher promised in the environment.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace cskd::runtime {

// Value of an environment variable, none when unset.
using Environment = std::function<std::optional<std::string>(const char*)>;

Environment process_environment();

// Throws UsageError with the remedy when srun started several processes and gave them no way to meet: MPI_Init would
// end them with a text of its own, or start singletons.
void check_before_mpi(const Environment& environment);

// Throws UsageError with the remedy when MPI could not make its files in the folder for temporary ones, which need not
// be there.
void check_temporary_folder(const Environment& environment);

// Throws UsageError with the remedy when `mpi_size` contradicts OMPI_COMM_WORLD_SIZE or, where mpirun did not start the
// process, SLURM_NTASKS. `may_be_alone`: a single process that a job's script starts itself, not by srun, is what it
// seems to be.
void check_launch(const Environment& environment, int mpi_size, bool may_be_alone = false);

// Rank that the launcher gave this process, known before MPI starts; 0 without a launcher.
int launcher_rank(const Environment& environment);

// Seconds between a signal to end that mpirun passes on and its SIGKILL; none when mpirun did not start this process.
std::optional<double> mpirun_grace(const Environment& environment);

// "mpirun", "srun" or "none": who started this process.
std::string launcher_name(const Environment& environment);

}  // namespace cskd::runtime
