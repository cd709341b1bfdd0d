import java.io.IOException;
import java.util.List;
import java.util.concurrent.*;
import java.util.logging.*;

/** Prints what applications on the Java machine print when something goes wrong. */
public class Traces {
    static final Logger LOG = Logger.getLogger("app");

    static void read(int depth) throws IOException {
        if (depth > 0) {
            read(depth - 1);
            return;
        }
        try {
            List.of(1).get(3);
        } catch (IndexOutOfBoundsException thrown) {
            throw new IOException("cannot read", thrown);
        }
    }

    static class Door implements AutoCloseable {
        public void close() {
            throw new IllegalStateException("jammed");
        }
    }

    static class Strange extends RuntimeException {
        public String toString() {
            return "app.StrangeException: code 7";
        }
    }

    static int deep(int n) {
        return deep(n + 1) + 1;
    }

    public static void main(String[] args) throws Exception {
        LOG.info("started");
        try {
            read(3);
        } catch (IOException thrown) {
            LOG.log(Level.SEVERE, "request failed", thrown);
        }
        LOG.warning("slow");
        try (Door door = new Door()) {
            throw new UnsupportedOperationException();
        } catch (UnsupportedOperationException thrown) {
            thrown.printStackTrace();
        }
        LOG.info("next");
        try {
            Executors.newSingleThreadExecutor(work -> { Thread t = new Thread(work, "pool"); t.setDaemon(true); return t; })
                .submit(() -> { read(1); return 1; }).get();
        } catch (ExecutionException thrown) {
            LOG.log(Level.WARNING, "a task failed", thrown);
        }
        try {
            deep(0);
        } catch (StackOverflowError thrown) {
            StackTraceElement[] trace = thrown.getStackTrace();
            thrown.setStackTrace(java.util.Arrays.copyOf(trace, 5));
            thrown.printStackTrace();
        }
        Exception circle = new Exception("one");
        circle.initCause(new Exception("two", circle));
        circle.printStackTrace();
        System.err.println("between");
        Thread worker = new Thread(() -> { throw new Strange(); }, "worker-7");
        worker.start();
        worker.join();
        Object nothing = null;
        nothing.hashCode();
    }
}
