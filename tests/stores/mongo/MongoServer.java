import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;

/** A server of MongoDB's protocol on 127.0.0.1. Arguments: PORT [FILE]; without FILE the data is in memory. */
class MongoServer {
    public static void main(String[] args) {
        MongoBackend backend = args.length > 1 ? new FileBackend(args[1]) : new MemoryBackend();
        var server = new de.bwaldvogel.mongo.MongoServer(backend.version(new Version5()));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
    }

    /** The library's own versions end at wire version 8; PyMongo wants at least 9. */
    private static class Version5 implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    /** Writes before it answers, so that every answered write outlives a kill; H2 by itself is up to a second late. */
    private static class FileBackend extends H2Backend {
        FileBackend(String file) {
            super(file);
            // Outdated pages are kept for 45 s otherwise, and the file grows by 30 KB a write.
            getMvStore().setRetentionTime(0);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            try {
                return super.handleMessage(message);
            } finally {
                commit();
            }
        }
    }
}
